"""What `modelbay doctor` finds: files, plugins, providers, and what is wrong with them."""

from modelbay_cli.diagnosis.examination import examine, examine_places
from modelbay_cli.diagnosis.report import Diagnosis, ProviderCheck, begin

__all__ = ["Diagnosis", "ProviderCheck", "begin", "examine", "examine_places"]
