"""Pure rules: accuracies and intervals. numpy and nothing heavier."""
