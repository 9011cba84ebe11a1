// Checks pushes against a protocol.

import type { PushCheck } from '../connection/checked-audience.ts'
import type { ProtocolDefinition } from '../protocol/definition.ts'
import { checkOutgoing } from './schema.ts'

/**
 * Returns a check for pushes of a protocol. The check throws a TypeError for a push that is not in
 * the protocol. When `validatesData` is true, it also throws for data that does not match.
 */
export function pushCheck(types: ProtocolDefinition, validatesData: boolean): PushCheck {
  return (type, data) => {
    const push = Object.hasOwn(types, type) ? types[type]?.push : undefined
    if (!push) throw new TypeError(unknownPush(types, type))
    if (!validatesData) return
    if (push !== true) checkOutgoing(push, data, 'push', type)
    else if (data !== undefined) {
      throw new TypeError(
        `The push ${JSON.stringify(type)} has no data in the protocol: leave the data out, or give the push a schema.`,
      )
    }
  }
}

function unknownPush(types: ProtocolDefinition, type: string): string {
  const name = JSON.stringify(type)
  if (Object.hasOwn(types, type)) {
    return `The protocol has no push ${name}: clients send this type. Give it "push" in protocol().`
  }
  const known = Object.keys(types).filter((one) => types[one]?.push)
  return `The protocol has no push ${name}. It has: ${known.join(', ') || 'none'}.`
}
