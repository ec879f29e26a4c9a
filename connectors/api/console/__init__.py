"""The live page: what is promised, where the orders are, what needs a person; as it happens, for a wall and for a desk.

`pages` serves the page and what it reads, `stream` its server-sent events, over the ports in `ports`. The page is plain HTML,
CSS and JavaScript modules, served from here: nothing is built, and nothing is loaded from anywhere else.
"""
