"""How many camera images DDS loses between two processes, with and without the package's Fast DDS profile.

    python benchmarks/dds_loss.py --seconds 10 --rate 30

One process publishes rgb8 and 16UC1 images of 640x480, best effort, this one counts them. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import array
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from asymformer_ros.node.fastdds import CHOSEN_BY_USER, large_message_environment

_TOPICS = {"rgb8": 640 * 480 * 3, "16UC1": 640 * 480 * 2, "mono8": 640 * 480}


@dataclass
class Count:
    received: int = 0
    latencies: list[float] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=30.0, help="images a second on each topic")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each row is measured")
    parser.add_argument("--role", choices=("publish", "count"), help=argparse.SUPPRESS)
    parser.add_argument("--reliability", choices=("best_effort", "reliable"), default="best_effort")
    args = parser.parse_args()
    if args.role == "publish":
        publish(args)
    elif args.role == "count":
        count(args)
    else:
        compare(args)
    return 0


def compare(args: argparse.Namespace) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in CHOSEN_BY_USER}
    profile = large_message_environment(clean)
    local = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    large_data = {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}
    variants = {  # row -> environment of the sender and of the receiver
        "default": ({}, {}),
        "profile": (profile, profile),
        "profile at the sender": (profile, {}),
        "profile at the receiver": ({}, profile),
        "LARGE_DATA": (large_data, large_data),
        "default, LOCALHOST": (local, local),
        "profile, LOCALHOST": ({**profile, **local}, {**profile, **local}),
    }
    print(f"| {args.reliability}, {args.rate:g} Hz | encoding | sent | received | lost | latency p50 / p95 |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, (sender, receiver) in variants.items():
        domain = {"ROS_DOMAIN_ID": str(random.randint(1, 100))}
        options = ["--rate", str(args.rate), "--seconds", str(args.seconds), "--reliability", args.reliability]
        command = [sys.executable, __file__, *options, "--role"]
        environment = {**clean, **domain, "DDS_LOSS_ROW": name}
        with subprocess.Popen([*command, "count"], env={**environment, **receiver}) as counter:
            subprocess.run([*command, "publish"], env={**environment, **sender}, check=True)
            counter.wait()


def _qos(args: argparse.Namespace) -> QoSProfile:
    return QoSProfile(depth=5, reliability=ReliabilityPolicy[args.reliability.upper()])


def publish(args: argparse.Namespace) -> None:
    """Publish numbered images for `seconds`, then say how many on the topic 'done'."""
    rclpy.init()
    node = rclpy.create_node("publisher")
    publishers = {name: node.create_publisher(Image, f"image_{name}", _qos(args)) for name in _TOPICS}
    done = node.create_publisher(Header, "done", 10)
    data = {name: array.array("B", bytes(size)) for name, size in _TOPICS.items()}
    while not all(publisher.get_subscription_count() for publisher in (*publishers.values(), done)):
        time.sleep(0.05)
    time.sleep(1.0)
    total = int(args.rate * args.seconds)
    start = time.monotonic()
    for number in range(total):
        time.sleep(max(0.0, start + number / args.rate - time.monotonic()))
        for name, publisher in publishers.items():
            header = Header(stamp=node.get_clock().now().to_msg())
            publisher.publish(Image(header=header, height=480, width=640, encoding=name, data=data[name]))
    time.sleep(0.5)
    done.publish(Header(frame_id=str(total)))
    time.sleep(1.0)
    rclpy.shutdown()


def count(args: argparse.Namespace) -> None:
    """Count until 'done' and print the rows."""
    rclpy.init()
    node = rclpy.create_node("counter")
    counts = {name: Count() for name in _TOPICS}
    sent: list[int] = []
    for name in _TOPICS:
        node.create_subscription(
            Image, f"image_{name}", lambda message, name=name: _note(node, counts[name], message), _qos(args)
        )
    node.create_subscription(Header, "done", lambda message: sent.append(int(message.frame_id)), 10)
    end = time.monotonic() + args.seconds + 30
    while not sent and time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.2)
    rclpy.shutdown()
    for name, result in counts.items():
        total = sent[0] if sent else 0
        lost = 100 * (1 - result.received / total) if total else float("nan")
        p50, p95 = np.percentile(result.latencies, (50, 95)) if result.latencies else (float("nan"),) * 2
        row = os.environ["DDS_LOSS_ROW"]
        print(f"| {row} | {name} | {total} | {result.received} | {lost:.0f} % | {p50:.1f} / {p95:.1f} ms |", flush=True)


def _note(node: Node, result: Count, message: Image) -> None:
    stamp = message.header.stamp.sec * 1e9 + message.header.stamp.nanosec
    result.received += 1
    result.latencies.append((node.get_clock().now().nanoseconds - stamp) / 1e6)


if __name__ == "__main__":
    sys.exit(main())
