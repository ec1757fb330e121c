import { Component, type ReactNode } from "react";

type Props = {
  /** What is shown within, by its name: another one is tried anew. */
  of: string;
  instead: ReactNode;
  children: ReactNode;
};

type State = { of: string; hasFailed: boolean };

/**
 * Shows something else instead of a part that throws as it is rendered, for which React would take
 * the whole page away. React itself says on the console what was thrown.
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
