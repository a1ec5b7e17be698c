"""What a request carries: options, a picture or JSON (`body`), files (`form`), compressed bytes."""
