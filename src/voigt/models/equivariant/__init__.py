"""Equivariant message passing shared by methods: coupling paths, messages, layers, trunk."""
