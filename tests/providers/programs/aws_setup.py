"""Makes what a deployment expects to be there: network, load balancer, listener and cluster. Prints it as JSON."""
import json
import sys

import boto3

moto, ministack, key, secret, policy = sys.argv[1:6]
with_keys = {"region_name": "eu-west-1", "aws_access_key_id": key, "aws_secret_access_key": secret}
ec2 = boto3.client("ec2", endpoint_url=moto, **with_keys)
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnets = [
    ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"eu-west-1{zone}")["Subnet"]["SubnetId"]
    for n, zone in enumerate("ab")
]
group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=vpc)["GroupId"]
elb = boto3.client("elbv2", endpoint_url=moto, **with_keys)
nobody = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]
# Two load balancers: fakecloud serves one listener of each.
listener, previews = (
    elb.create_listener(
        LoadBalancerArn=elb.create_load_balancer(Name=name, Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"],
        Protocol="HTTP", Port=port, DefaultActions=nobody)
    for name, port in (("main", 80), ("previews", 8443)))
iam = boto3.client("iam", endpoint_url=moto, **with_keys)
trust = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]})
role = iam.create_role(RoleName="functions", AssumeRolePolicyDocument=trust.replace('"AWS": "*"', '"Service": "lambda.amazonaws.com"'))
iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=trust)
iam.put_role_policy(RoleName="deploy", PolicyName="deploy", PolicyDocument=policy)
boto3.client("ecs", endpoint_url=ministack, **with_keys).create_cluster(clusterName="main")
print(json.dumps({
    "vpc": vpc,
    "subnets": subnets,
    "securityGroup": group,
    "listener": listener["Listeners"][0]["ListenerArn"],
    "previews": previews["Listeners"][0]["ListenerArn"],
    "functionRole": role["Role"]["Arn"],
}))
