"""Networks: torch only. They take tensors and have never seen a slide."""
