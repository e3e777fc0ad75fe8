"""What do spamguard and the systems around it say to each other, as files that a stranger's tools can read?

schemas: JSON Schema of every value on the wire, made from the types · channels: AsyncAPI for the topics · http: OpenAPI
for the gateway · files: all of it in a folder (`make contract`), which tests hold to the types.
"""
