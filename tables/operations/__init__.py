"""Operations: exceptions that people work on, and the numbering of feeds."""
