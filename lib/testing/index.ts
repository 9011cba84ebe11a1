// The entry `koaws/testing`: its public names.

export type {
  AdapterFault,
  AdapterSubject,
  AdapterTest,
  MakeSubject,
} from './adapters/subject.ts'
export { adapterSuite } from './adapters/suite.ts'
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
export type { ConnectOptions, RequestOptions, TestApp, TestResponse } from './test-app.ts'
export { RejectedError, TestSocket, testApp } from './test-app.ts'
