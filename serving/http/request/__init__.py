"""What a request carries: options, pictures, forms, JSON; compressed bodies."""
