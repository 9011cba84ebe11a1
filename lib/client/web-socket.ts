/** What the client uses of a WebSocket: a browser's, Node's, or one of ws. */
export interface WebSocketLike {
  readonly readyState: number
  readonly protocol: string
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  send(data: string): void
  close(code?: number, reason?: string): void
  /** ws has it: end the TCP connection at once. */
  terminate?(): void
}

/** A WebSocket class. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike

/** `readyState` of a WebSocket that messages can be sent on. */
export const OPEN = 1
