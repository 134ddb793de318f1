"""Networks: torch and timm only. They take tensors and have never seen a slide."""
