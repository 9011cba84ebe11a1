// The security schemes of a document, and the bindings of its handshake.
import { reference } from './fields.ts'
import { Names } from './names.ts'
import type { AsyncApiReference, AsyncApiSecurity, JsonSchemaObject } from './types.ts'

/** The security schemes by name, and the references to them. */
export interface Security {
  readonly schemes: Record<string, JsonSchemaObject>
  readonly references: readonly AsyncApiReference[]
}

/** Returns the Security Scheme Objects. One of them is enough for a connection. */
export function securityOf(ways: readonly AsyncApiSecurity[]): Security {
  const names = new Names()
  const named = ways.map((way) => [names.take(way.in), schemeOf(way)] as const)
  return {
    schemes: Object.fromEntries(named),
    references: named.map(([name]) => reference('components', 'securitySchemes', name)),
  }
}

function schemeOf(way: AsyncApiSecurity): JsonSchemaObject {
  const described = way.description === undefined ? {} : { description: way.description }
  switch (way.in) {
    case 'cookie':
    case 'query':
      return { type: 'httpApiKey', in: way.in, name: way.name, ...described }
    case 'header':
      return { type: 'http', scheme: 'bearer', ...described }
    case 'subprotocol':
      return {
        type: 'httpApiKey',
        in: 'header',
        name: 'Sec-WebSocket-Protocol',
        description:
          'The token as an offered subprotocol beside koaws.v1: koaws.bearer.<token>, or koaws.bearer64.<base64url of the token, without padding>.',
        ...described,
      }
    case 'message':
      return {
        type: 'apiKey',
        in: 'password',
        description: 'The token in a koaws:auth message, after koaws:authenticate.',
        ...described,
      }
  }
}

/** Returns the WebSocket binding of the channel: the handshake that a client sends. */
export function handshakeBinding(
  ways: readonly AsyncApiSecurity[],
  history: boolean,
): JsonSchemaObject {
  const queries = ways.flatMap((way) => (way.in === 'query' ? way.name : []))
  const offer = history ? 'koaws.v1, koaws.resume' : 'koaws.v1'
  return {
    method: 'GET',
    headers: {
      type: 'object',
      required: ['Sec-WebSocket-Protocol'],
      properties: {
        'Sec-WebSocket-Protocol': {
          type: 'string',
          description: `The offered subprotocols: ${offer}. The server selects koaws.v1.`,
        },
      },
    },
    ...(queries.length > 0 && {
      query: {
        type: 'object',
        ...(queries.length === ways.length && queries.length === 1 && { required: queries }),
        properties: Object.fromEntries(queries.map((name) => [name, { type: 'string' }])),
      },
    }),
    bindingVersion: '0.1.0',
  }
}
