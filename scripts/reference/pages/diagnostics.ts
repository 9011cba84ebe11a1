/**
 * # Diagnostics channels
 *
 * From `koaws`. The types of the messages on the channels of `node:diagnostics_channel`; the guide is [diagnostics](../../guides/diagnostics.md).
 *
 * @module diagnostics
 */
export type {
  AnsweredEvent,
  BackplaneEvent,
  CloseEvent,
  ConnectionEvent,
  DropEvent,
  HandledEvent,
  LostEvent,
  MessageEvent,
  PongEvent,
  PublishedEvent,
  RecoveryEvent,
  SentAudience,
  SentEvent,
  ShutdownEvent,
  UpgradeEvent,
} from '../../../lib/index.ts'
