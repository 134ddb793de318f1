"""Pure rules of a cohort: parts, pools, leakage, consensus. numpy and nothing heavier."""
