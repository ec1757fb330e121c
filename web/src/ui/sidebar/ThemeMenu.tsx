import * as Menu from "@radix-ui/react-dropdown-menu";
import { Check, Monitor, Moon, Sun } from "lucide-react";
import { useState } from "react";
import { chooseTheme, type Theme, theme } from "../../store/storage/theme";

const CHOICES = [
  { value: "system", label: "System", Icon: Monitor },
  { value: "light", label: "Light", Icon: Sun },
  { value: "dark", label: "Dark", Icon: Moon },
] as const;

/** The choice of theme: light, dark, or like the device. */
export function ThemeMenu() {
  const [current, setCurrent] = useState(theme);
  const { Icon } = CHOICES.find((choice) => choice.value === current) ?? CHOICES[0];
  return (
    // A modal menu would insert a `<style>` element, which the Content-Security-Policy refuses.
    <Menu.Root modal={false}>
      <Menu.Trigger className="icon-button" aria-label="Theme" title="Theme">
        <Icon size={18} aria-hidden="true" />
      </Menu.Trigger>
      <Menu.Content className="menu" align="end" sideOffset={4} collisionPadding={8}>
        <Menu.Label className="menu-label">Theme</Menu.Label>
        <Menu.RadioGroup
          value={current}
          onValueChange={(value) => {
            chooseTheme(value as Theme);
            setCurrent(value as Theme);
          }}
        >
          {CHOICES.map(({ value, label, Icon: Sign }) => (
            <Menu.RadioItem key={value} value={value} className="menu-item">
              <Sign size={16} aria-hidden="true" />
              {label}
              <Menu.ItemIndicator className="check">
                <Check size={16} aria-hidden="true" />
              </Menu.ItemIndicator>
            </Menu.RadioItem>
          ))}
        </Menu.RadioGroup>
      </Menu.Content>
    </Menu.Root>
  );
}
