"""The words: frozen records that every room of the factory speaks; no input or output happens here."""
