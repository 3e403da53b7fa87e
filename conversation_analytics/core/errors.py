"""The one error hierarchy: transient or permanent decides whether a step is retried.

Every message says what failed, where (table, partition, id), what was expected
against what came, and what to do next. Messages never hold credentials, message
text or user ids.
"""

from __future__ import annotations


class AnalyticsError(Exception):
    """Base of every error this package raises on purpose."""


class TransientError(AnalyticsError):
    """May pass by itself: the same call is worth repeating."""


class PermanentError(AnalyticsError):
    """Stays until somebody changes something: repeating the call is useless."""


class SettingsError(PermanentError):
    """One or more settings are missing or wrong."""


class ExtensionError(PermanentError):
    """An installed extension is not there, cannot be loaded, or is not what it says."""


class SourceUnavailableError(TransientError):
    """The source did not answer, or answered 429/5xx or no JSON, after every retry."""


class SourceAuthError(PermanentError):
    """The source refused the credentials (401, 403)."""


class SourceRequestError(PermanentError):
    """The source refused the request itself (404, 422 and the other 4xx)."""


class ContractError(PermanentError):
    """A table lacks a required column, or a value has no place in the schema."""


class LakeError(PermanentError):
    """A lake object is missing, torn, or not of the pinned schema."""


class OutdatedPartitionError(LakeError):
    """A lake object was written for another version of its table's schema."""


class LakeUnavailableError(TransientError):
    """The lake's storage did not answer."""


class DocumentError(PermanentError):
    """The document store refused a document or a request."""


class DocumentStoreUnavailableError(TransientError):
    """The document store did not answer."""


class TranslatorUnavailableError(TransientError):
    """The translation engine did not answer, or answered 429/5xx or no JSON, after every retry."""


class TranslatorFailedError(TranslatorUnavailableError):
    """The engine answered 500 to a request for texts: perhaps one of them is the cause."""


class TranslatorAuthError(PermanentError):
    """The translation engine refused the credentials, or this client (401, 403)."""


class TranslatorQuotaError(PermanentError):
    """The characters paid for at the translation engine are used up (456)."""


class TranslatorRequestError(PermanentError):
    """The translation engine refused the request: one of its texts, or all that it is asked."""


class ErasureError(PermanentError):
    """An erasure is not done: a storage failed, or something of the person is left."""


class EngineError(TransientError):
    """A plan cannot be computed by this engine: another one can."""


class DeviceUnavailableError(EngineError):
    """There is no GPU for this process, or what drives it is not installed."""


class DeviceMemoryError(EngineError):
    """The memory of the GPU does not suffice."""


class PlanNotTranslatedError(EngineError):
    """The GPU engine does not take the plan."""


class ClusterUnavailableError(TransientError):
    """The Dask cluster did not answer, has no workers, or lost those that had the work."""


class WorkerMismatchError(PermanentError):
    """A worker of the Dask cluster runs another version of this platform, or of a library."""


class RecordsError(PermanentError):
    """The orchestrator's own records could not be written or read."""


class QueryError(PermanentError):
    """SQL over the lake is wrong, may not be done there, or failed on its rows."""


class ReadRequestError(PermanentError):
    """A call of the client asks for what there cannot be, or goes on with a wrong cursor."""


class ExportError(PermanentError):
    """An export asks for what a file cannot hold, or its place is taken."""


class TaxonomyError(PermanentError):
    """A taxonomy or a list of corrections is not as it should be."""


class LanguagePartError(PermanentError):
    """A part for text (embedder, segmenter) is not installed or not known."""


class EvaluationDataError(PermanentError):
    """A labelled set cannot be read, or says what it cannot say."""


class WheelsError(PermanentError):
    """Packed wheels are missing, are not what was packed, or pip refused them."""
