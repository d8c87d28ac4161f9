"""What pytest leaves alone here."""

collect_ignore = ["make_golden.py"]  # imports modules of voigt 0.1.0, which need not be there any more
