"""The flows: one module a fold, the translators, the clock's ticks, and which group works a flow off."""
