"""What a pass over calibration pictures tells about the tensors of a program."""
