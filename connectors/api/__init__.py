"""Our HTTP API: a FastAPI application over ports (`ports.py`) that the wiring hands in. `create_api(ports)` makes it.

Routes are grouped by what they are about (`promises`, `orders`, `operations`); `http` reads JSON exactly and keeps strangers
out; `problems` turns every error into problem+json; `render` writes rows the way people read them.
"""
