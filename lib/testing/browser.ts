// The entry `koaws/testing` under the condition `browser` (Jest with jsdom): without ws and Node's servers.

export { fakeServer } from './fake-server.ts'
export type {
  FakeRequest,
  FakeServer,
  FakeServerOptions,
  HistoryMessages,
  PresentedPositions,
  PushPlace,
  ReceivedMessage,
} from './fake-server-types.ts'

function needsNode(name: string): never {
  throw new Error(
    `${name} of koaws/testing needs Node, and this test resolves packages for browsers. Run it in an environment for Node ("@jest-environment node").`,
  )
}

/** Throws an Error: the function needs Node. */
export function testApp(): never {
  return needsNode('testApp()')
}

/** Throws an Error: the function needs Node. */
export function adapterSuite(): never {
  return needsNode('adapterSuite()')
}

/** Throws an Error when constructed: the class needs Node. */
export class TestSocket {
  constructor() {
    needsNode('TestSocket')
  }
}

/** The error that `testApp()` rejects with in Node. */
export class RejectedError extends Error {}
