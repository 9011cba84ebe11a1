// The JSON Schemas of the messages of streams: `docs/protocol.md`, section 3.8.
import {
  COUNT,
  type OwnMessage,
  object,
  type RequestStreams,
  SHARED,
  typeField,
} from './envelope.ts'
import type { JsonSchema } from './types.ts'

/** Returns the envelope of an item. */
export function itemMessage(data: JsonSchema): JsonSchema {
  return object({ type: typeField(ITEM), id: SHARED.id, data })
}

/** The type of an item. */
export const ITEM = 'koaws:item'

/** Returns the messages of the protocol about items. */
export function streamMessages({ stream, upload }: RequestStreams): OwnMessage[] {
  const part = (type: string, fields: Record<string, JsonSchema> = {}): JsonSchema =>
    object({ type: typeField(type), id: SHARED.id, ...fields })
  const received = (type: string, summary: string, payload: JsonSchema): OwnMessage => ({
    type,
    action: 'receive',
    summary,
    payload,
  })
  const grant = 'Allows more bytes of items.'
  const granted = part('koaws:credit', { data: object({ bytes: COUNT, 'items?': COUNT }) })
  const granting = part('koaws:credit', { data: object({ bytes: COUNT }) })
  const stop = 'Stops the items of the client. The answer follows.'
  return [
    ...(stream ? [received('koaws:credit', grant, granted)] : []),
    ...(upload
      ? [
          received('koaws:end', 'Ends the items of the client.', part('koaws:end')),
          ...[
            { type: 'koaws:credit', name: 'koaws_grant', summary: grant, payload: granting },
            {
              type: 'koaws:cancel',
              name: 'koaws_stop',
              summary: stop,
              payload: part('koaws:cancel'),
            },
          ].map((one): OwnMessage => ({ ...one, action: 'send' })),
        ]
      : []),
    ...(stream || upload
      ? [received('koaws:cancel', 'Cancels the request.', part('koaws:cancel'))]
      : []),
  ]
}
