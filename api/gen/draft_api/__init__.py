"""Python code generated from protos by `dctl api build`."""
