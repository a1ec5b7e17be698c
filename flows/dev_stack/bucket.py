"""Create a bucket if it does not exist: `python -m flows.dev_stack.bucket NAME`.

Address and keys are boto3's own variables: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import sys


def make_bucket(name: str) -> bool:
    """Create the bucket if it does not exist; returns whether it was created.

    Raises:
        botocore.exceptions.ClientError: the store refuses the credentials.
    """
    import boto3
    from botocore.exceptions import ClientError

    store = boto3.client("s3")
    try:
        store.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        store.create_bucket(Bucket=name)
        return True
    return False


def main() -> None:
    """Create the bucket that the command line names."""
    from botocore.exceptions import BotoCoreError, ClientError

    if len(sys.argv) != 2:
        sys.exit("usage: python -m flows.dev_stack.bucket NAME")
    try:
        made = make_bucket(sys.argv[1])
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"error: the bucket {sys.argv[1]}: {error}; check AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID")
    print(f"the bucket {sys.argv[1]} {'was made' if made else 'is there'}")


if __name__ == "__main__":
    main()
