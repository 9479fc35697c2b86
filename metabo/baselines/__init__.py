"""What users would otherwise pick: the methods that we compare with, one file each."""
