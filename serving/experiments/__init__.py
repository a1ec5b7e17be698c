"""Second models beside the live one: a shadow that is only compared, a canary that answers a share.

shadow   a sample of the answered pictures, looked at again by another model in another process
canary   a share of the clients is answered by the candidate, the live model answers where the candidate fails
"""
