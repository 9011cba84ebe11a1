import type { DropReason } from './owner.ts'

/** The name that an error of ws's receiver is counted under; the codes are documented by ws. */
export function frameFault(error: unknown): DropReason {
  switch ((error as { code?: unknown } | null)?.code) {
    case 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH':
    case 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH':
      return 'maxPayload'
    case 'WS_ERR_TOO_MANY_BUFFERED_PARTS':
      return 'maxFragments'
    default:
      return 'badFrame'
  }
}
