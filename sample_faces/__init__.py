"""The procedural sample dataset: drawn faces whose expressions are driven by FACS action units.

No person was photographed: every face is a morphable landmark model, painted and lit. It exists so that the
whole product works with no account and no download; it says nothing about real people.
"""
