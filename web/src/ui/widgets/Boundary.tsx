import { Component, type ReactNode } from "react";

type Props = {
  /** Identifies the content: when it changes, rendering is tried again. */
  of: string;
  instead: ReactNode;
  children: ReactNode;
};

type State = { of: string; hasFailed: boolean };

/**
 * Shows something else instead of a part that throws while rendering, for which React would unmount
 * the whole page. React itself logs the error to the console.
 */
export class Boundary extends Component<Props, State> {
  override state: State = { of: this.props.of, hasFailed: false };

  static getDerivedStateFromError(): Partial<State> {
    return { hasFailed: true };
  }

  static getDerivedStateFromProps({ of }: Props, state: State): State | null {
    return of === state.of ? null : { of, hasFailed: false };
  }

  override render(): ReactNode {
    return this.state.hasFailed ? this.props.instead : this.props.children;
  }
}
