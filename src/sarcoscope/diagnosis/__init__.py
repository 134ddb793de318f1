"""Pure rules: fusion of members, slide vote, refined rule, components, undetermined. numpy and nothing heavier."""
