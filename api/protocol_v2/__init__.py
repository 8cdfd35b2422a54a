"""The Open Inference Protocol, version 2: tensors in JSON or binary, in requests and answers.

KServe's protocol with Triton's extension for binary tensor data. Encoded images go in as one tensor
of BYTES; what comes out is what `POST /predict` says, column by column.
"""
