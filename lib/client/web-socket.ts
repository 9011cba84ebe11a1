// The part of the WebSocket interface that the client uses.

/** The part of the WebSocket interface that the client uses; browsers, Node and ws have it. */
export interface WebSocketLike {
  /** 1 while the WebSocket is open. */
  readonly readyState: number
  /** The subprotocol that the server chose. */
  readonly protocol: string
  /** Called when the WebSocket opens. */
  onopen: ((event: never) => void) | null
  /** Called with each message, in `data` of the event. */
  onmessage: ((event: never) => void) | null
  /** Called when the WebSocket fails. */
  onerror: ((event: never) => void) | null
  /** Called when the WebSocket has closed, with `code` and `reason` of the event. */
  onclose: ((event: never) => void) | null
  /** Sends `data` as a text message. */
  send(data: string): void
  /** Closes the WebSocket, with a `code` and a `reason`. */
  close(code?: number, reason?: string): void
  /** Ends the TCP connection at once. Only ws has it. */
  terminate?(): void
}

/** A WebSocket class. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike

/** The `readyState` of an open WebSocket. */
export const OPEN = 1
