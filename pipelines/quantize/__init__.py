"""From a float32 ONNX file to an int8 one: weights in eight bits, activations in eight where it pays.

rewriting/      equal graphs in fewer operators, so that there is something to gain
floating        which nodes stay in float32, by rule
calibration     what values activations take on validation pictures
ranges          which of them eight bits have to cover
qdq             ONNX Runtime's quantiser, told all of that
twins           is it the same model still?
"""
