"""Request and response models, one file per route file. The wire's names live only here."""
