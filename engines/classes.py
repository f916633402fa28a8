"""COCO's class names, keypoints and skeleton, for files that know only how many they have."""

__all__ = ["COCO", "COCO_KEYPOINTS", "COCO_SKELETON", "COCO_WITH_GAPS"]

COCO = tuple(
    """
person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|
stop sign|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|
backpack|umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|
baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|
knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|
chair|couch|potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|
cell phone|microwave|oven|toaster|sink|refrigerator|book|clock|vase|scissors|teddy bear|
hair drier|toothbrush
""".replace("\n", "").split("|")
)

_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # ids from 1 to 90 that no object of COCO carries
_NAMES = iter(COCO)
COCO_WITH_GAPS = tuple("N/A" if number in _GAPS else next(_NAMES) for number in range(1, 91))

COCO_KEYPOINTS = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

COCO_SKELETON = (
    (15, 13),
    (13, 11),
    (16, 14),
    (14, 12),
    (11, 12),
    (5, 11),
    (6, 12),
    (5, 6),
    (5, 7),
    (6, 8),
    (7, 9),
    (8, 10),
    (1, 2),
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (3, 5),
    (4, 6),
)
