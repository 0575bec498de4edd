"""Python code of the protos under api, written by `dctl api build`: do not edit."""
