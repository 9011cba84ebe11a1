export type {
  AdapterFault,
  AdapterSubject,
  AdapterTest,
  MakeSubject,
} from './adapters/subject.ts'
export { adapterSuite } from './adapters/suite.ts'
export type { FakeServer, FakeServerOptions, ReceivedMessage } from './fake-server.ts'
export { fakeServer } from './fake-server.ts'
export type { ConnectOptions, RequestOptions, TestApp, TestResponse } from './test-app.ts'
export { RejectedError, TestSocket, testApp } from './test-app.ts'
