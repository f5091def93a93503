"""The only part that knows Streamlit: main script, guards, navigation, loaders, wording, charts, cards."""
