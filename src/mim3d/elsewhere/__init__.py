"""Trained weights for other programs: folders to share, ONNX, MONAI bundles, nnU-Net."""
