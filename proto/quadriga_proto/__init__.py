"""The wire contract: message classes generated from the .proto files, and the tensor codec that both ends share."""
