/**
 * # Messages of koaws.v1
 *
 * From `koaws`. Named messages with replies, checked against schemas.
 *
 * @module messages
 */
export {
  type DefinitionOf,
  type HandlerOptions,
  type Message,
  type MessageHandler,
  type MessageMiddleware,
  type Messages,
  type MessagesOptions,
  messages,
  type OpenMessages,
  type Protocol,
  type ProtocolDefinition,
  type ProtocolEntry,
  protocol,
  type RoomSource,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
} from '../../../lib/index.ts'
export type { MessagesOf } from '../../../lib/messages/messages.ts'
