"""A model over recordings whose classes nobody knows: chunks, results that are whole or absent, one process or many."""
