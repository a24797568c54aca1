"""Compiles an operation of a GraphQL schema once, and then runs it level by level; README.md tells how."""

from graphql_server.planner.compiler import Planner
from graphql_server.planner.links import Joint, Leaf, Link, Links, Part, Root, Sure, Unplanned
from graphql_server.planner.plans import Payloads, Plan

__all__ = ["Joint", "Leaf", "Link", "Links", "Part", "Payloads", "Plan", "Planner", "Root", "Sure", "Unplanned"]
