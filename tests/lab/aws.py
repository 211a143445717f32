"""Asks an AWS-like server directly: python aws.py COMMAND [ARGUMENT], one JSON value on stdout.

The server comes from AWS_ENDPOINT_URL, the caller's key from AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY. A refusal is an answer too: {"refused": CODE, "status": NUMBER}.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ALLOW_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


def client(service):
    return boto3.client(
        service,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
    )


def bootstrap():
    """The only three requests that a new server accepts from nobody."""
    create_user("admin")
    allow_all("admin")
    return create_key("admin")


def create_user(name):
    return client("iam").create_user(UserName=name)["User"]["Arn"]


def allow_all(user):
    client("iam").put_user_policy(
        UserName=user, PolicyName="all", PolicyDocument=json.dumps(ALLOW_ALL)
    )
    return None


def allow(user, *actions):
    """These actions and no others, in place of what the user was allowed before."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client("iam").put_user_policy(
        UserName=user, PolicyName="all", PolicyDocument=json.dumps(policy)
    )
    return None


def create_key(user):
    key = client("iam").create_access_key(UserName=user)["AccessKey"]
    return {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}


def disable_key(user, key_id):
    client("iam").update_access_key(UserName=user, AccessKeyId=key_id, Status="Inactive")
    return None


def delete_key(user, key_id):
    client("iam").delete_access_key(UserName=user, AccessKeyId=key_id)
    return None


def list_keys(user):
    keys = client("iam").list_access_keys(UserName=user)["AccessKeyMetadata"]
    return [{"id": key["AccessKeyId"], "status": key["Status"]} for key in keys]


def list_users():
    return [user["UserName"] for user in client("iam").list_users()["Users"]]


def create_role(name):
    return client("iam").create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps(ALLOW_ALL)
    )["Role"]["Arn"]


def assume_role(arn):
    session = client("sts").assume_role(RoleArn=arn, RoleSessionName="lab")["Credentials"]
    return {
        "id": session["AccessKeyId"],
        "secret": session["SecretAccessKey"],
        "session": session["SessionToken"],
    }


def whoami():
    return client("sts").get_caller_identity()["Arn"]


COMMANDS = {
    function.__name__.replace("_", "-"): function
    for function in (
        bootstrap, create_user, allow_all, allow, create_key, disable_key, delete_key, list_keys,
        list_users, create_role, assume_role, whoami,
    )
}

if __name__ == "__main__":
    try:
        answer = COMMANDS[sys.argv[1]](*sys.argv[2:])
    except ClientError as error:
        answer = {
            "refused": error.response["Error"]["Code"],
            "status": error.response["ResponseMetadata"]["HTTPStatusCode"],
        }
    print(json.dumps(answer))
