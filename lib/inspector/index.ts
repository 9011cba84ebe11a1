// The public names of `koaws/inspector`.

export type { ActionRequest, AuditEvent, InspectorAction } from './action-request.ts'
export { inspector } from './inspector.ts'
export type { InspectorOptions } from './options.ts'
export type { MeasuredApp } from './timeline.ts'
