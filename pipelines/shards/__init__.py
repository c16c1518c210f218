"""Writes, verifies and publishes shards, and makes the catalogue from them.

Order of use: `dataset_spec`, `clean_staging`, `done_shards`, `write_shard` for each shard that is missing, `finalise`.
"""

from landweave import __version__ as __version__
from landweave.errors import LandweaveError as LandweaveError
from landweave.layout import FUSION as FUSION
from landweave.layout import DatasetSpec as DatasetSpec
from landweave.licences import conflicts as conflicts
from pipelines.shards.addition import AddError as AddError
from pipelines.shards.addition import add as add
from pipelines.shards.asked import unasked as unasked
from pipelines.shards.claim import ClaimedError as ClaimedError
from pipelines.shards.claim import claimed as claimed
from pipelines.shards.claim import held as held
from pipelines.shards.dataset_spec import dataset_spec as dataset_spec
from pipelines.shards.dataset_spec import licences_of as licences_of
from pipelines.shards.desk import address_of as address_of
from pipelines.shards.desk import arrive as arrive
from pipelines.shards.desk import desk_of as desk_of
from pipelines.shards.desk import is_url as is_url
from pipelines.shards.desk import share_plan as share_plan
from pipelines.shards.finalise import finalise as finalise
from pipelines.shards.ledger import IncompleteError as IncompleteError
from pipelines.shards.ledger import ledger_of as ledger_of
from pipelines.shards.ledger import refused as refused
from pipelines.shards.ledger import why_absent as why_absent
from pipelines.shards.packs import packs_text as packs_text
from pipelines.shards.publish import DamagedError as DamagedError
from pipelines.shards.publish import FullError as FullError
from pipelines.shards.publish import OtherDatasetError as OtherDatasetError
from pipelines.shards.publish import clean_staging as clean_staging
from pipelines.shards.publish import done_shards as done_shards
from pipelines.shards.publish import is_finished as is_finished
from pipelines.shards.publish import room_needed as room_needed
from pipelines.shards.publish import staging as staging
from pipelines.shards.publish import withdraw as withdraw
from pipelines.shards.revised import added_outcomes as added_outcomes
from pipelines.shards.revised import layers_in as layers_in
from pipelines.shards.store import StoreError as StoreError
from pipelines.shards.verify import VerifyError as VerifyError
from pipelines.shards.write import ShardReport as ShardReport
from pipelines.shards.write import ShardRows as ShardRows
from pipelines.shards.write import write_shard as write_shard
from pipelines.shards.zarr_metadata import object_count as object_count
