export type { ConnectOptions, RequestOptions, TestApp, TestResponse } from './test-app.ts'
export { RejectedError, TestSocket, testApp } from './test-app.ts'
