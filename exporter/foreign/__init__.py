"""ONNX files that bvx did not make, such as Optimum's: how they are asked, and their parity with the checkpoint."""
